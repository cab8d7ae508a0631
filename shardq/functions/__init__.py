"""Plain functions whose results an application waits for: `Supervisor.map`.

* `named`: a function that workers find by its name, and the types of its items and results
* `proofs`: how workers know that their own application named it
* `apply`: the handler that calls functions, served by each worker of a family
* `mapping`: a map of such requests
* `maps`: `map` and `map_sync`, as a supervisor has them
"""
