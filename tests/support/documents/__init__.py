"""Documents as tests see them: blocks of code, and what can be done with each to find that it is true.

| block | what is done |
|---|---|
| `python` | a program: it is run, and prints the block `text` right behind it |
| `py` | a piece: the pieces of a page run one after the other in one process, with `await` where a program has none |
| `console` | what is typed behind `$ `, and what comes of it; `...` is any text |
| `sh` | only read: by the shell, and by the parsers of the commands that are in it |
| `json`, `toml`, `yaml`, `ini`, `dockerfile` | read as what they are |
| any with its name and a colon above it, as a paragraph | written to that file in the folder of the page, and read |

`<!-- first … -->` has code, not shown, that the pieces behind it stand on. `<!-- not run: WHY -->` leaves a block out.
`<!-- ends with: CODE -->` is the exit code of the last command of a `console`. `<!-- any order -->` stands above a
`text` whose lines may come in any order.

* `blocks`: a document in blocks
* `pieces`: the program that runs the pieces of a page
* `sessions`: the script that runs all else of a page, and what it printed
* `reading`: blocks that are only read
"""
