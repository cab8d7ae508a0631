"""`shardq top`: a storage on a terminal, renewed each second, with keys to look closer and to steer.

* `rows`: what each pane shows, as plain texts
* `groups`: dead letters by what they have in common
* `texts`: the heading, the details and the help
* `aside`: a thread in which looks are taken, so that keys never wait
* `source`: the looks, the letters, and what is done to them
* `pane`: a table that keeps its selection
* `dialogs`: what stands above the panes: a text, and a question
* `app`: the application of Textual
* `command`: what the command does
"""
