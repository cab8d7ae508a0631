"""The driver of many hosts: a Redis or Valkey server, or a cluster of them.

What is stored lies in partitions, each a handful of keys with one hash tag. A verb is one script, or a few. Its rooms:
`connections` (to one server), `servers` (one or a cluster, as the verbs see it), `verbs`; in `lua/` a script for each
verb, in `lua/shared/` what several of them need. The modules, each after those that it uses:

* `connections.tls`: how a connection is encrypted
* `connections.address`: where the server is, and how to speak with it
* `connections.wire`: commands out, replies in
* `connections.replies`: what errors mean
* `connections.tries`: how often a call is tried that got no answer
* `connections.scripts`: the scripts, and the commands that run them
* `connections.copies`: `replicas=` and `fsync=`
* `connections.calls`: the numbers of calls that are made again
* `connections.links`: the connection of an event loop, made anew where it breaks
* `connections.plain_links`: the connection of a thread without an event loop
* `connections.per_loop`: what each event loop has of its own
* `servers.layout`: keys by partition, partitions by thread
* `servers.cluster`: which server has which slots
* `servers.lost`: servers that could not be reached a moment ago
* `servers.cluster_links`: the connections of an event loop to a cluster
* `servers.plain_cluster_links`: those of a thread without an event loop
* `servers.suitable`: servers that are refused
* `servers.bells`: waking event loops
* `servers.plain_bells`: waking processes without an event loop
* `servers.server`: scripts on partitions, from any event loop and any thread
* `plainly`: verbs for code without an event loop
* `verbs.records`: messages as the server keeps them
* `verbs.hands`: what the server says of a hand, and is told of one
* `verbs.rooms`: how many bytes of messages a storage may have
* `verbs.owners`: which process holds a claim
* `verbs.presence`: what families say of themselves
* `verbs.pausing`: handlers that workers leave alone
* `verbs.recording`: what operators did
* `verbs.strays`: claims that this process does not know of
* `verbs.leases`: how long claims live
* `verbs.sleeping`: look, lie down in the same step, look again
* `verbs.counting`: how many messages there are, and whether there are none
* `verbs.cancelling`: messages that are taken out
* `verbs.forwarding`: from one partition to another
* `verbs.appending`: adding messages, now or later
* `verbs.looking`: which thread is next, and what is due
* `verbs.results`: results that are kept for tickets
* `verbs.outputs`: what handlers send on
* `verbs.releasing`: claims that a process gives up
* `verbs.tallying`: what a worker counts of its batches, and says with its turns
* `verbs.turning`: handing out and acknowledging in one step
* `verbs.letters`: dead letters
* `verbs.listing`: listings over all partitions, page by page
* `verbs.deferrals`: single messages that wait for their time
* `families`: which families serve a storage
* `storage`: all verbs, as the contract has them
* `lock`: claims that live by time
* `moving`: a storage as a move sees it
* `connecting`: from a URL to a storage
* `overview`: a storage at one moment, for operators
* `facts`: what is known of one pipe
* `tubes`: how its tubes are, for operators
* `tallies`: what was counted of its handlers, for operators
* `observing`: looking without taking part
* `news`: what workers tell their supervisor
* `progress`: how far batches have come
* `workers`: what a supervisor knows of them by that
* `supervised`: a storage as a supervisor and its workers see it
* `check`: reads a whole storage, and says what is wrong in it
* `ancestor`: what the package `sharded-queue` keeps on a server
"""

from importlib.util import find_spec

from shardq.errors import ConfigurationError

for _package in ("hiredis", "redis"):
    if find_spec(_package) is None:
        raise ConfigurationError(
            f"Redis needs the package {_package}, which is not installed: pip install 'shardq[redis]'"
        )
