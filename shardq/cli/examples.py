"""Examples for the help of each command, as they are typed behind `shardq`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_URL = "--url shm://app"

EXAMPLES: Mapping[str, Sequence[str]] = {
    "status": (f"status {_URL}", f"status {_URL} --sample 0 --json", f"status {_URL} --watch 5"),
    "metrics": (f"metrics {_URL}", f"metrics {_URL} --output /var/lib/node_exporter/shardq.prom"),
    "top": (f"top {_URL}", f"top {_URL} --read-only"),
    "tubes": (f"tubes {_URL} --limit 20", f"tubes {_URL} --by-handler"),
    "peek": (f"peek {_URL} app.jobs/Resize/3/0 --limit 5", f"peek {_URL} app.jobs/Login/0/0 --app app.jobs"),
    "why": (f"why {_URL}", f"why {_URL} app.jobs/Resize", f"why {_URL} app.jobs/Resize/3/0"),
    "stack": (f"stack {_URL}", f"stack {_URL} 3"),
    "dead list": (
        f"dead list {_URL} app.jobs/Resize",
        f"dead list {_URL} --match type=ValueError --match newer=1h",
        f"dead list {_URL} --match user.id=5 --after app.jobs/Resize#117 --limit 20",
    ),
    "dead show": (f"dead show {_URL} app.jobs/Resize#17",),
    "dead requeue": (
        f"dead requeue {_URL} app.jobs/Resize#17 --head",
        f"dead requeue {_URL} app.jobs/Resize --match 'error~timed out' --yes",
        f"dead requeue {_URL} --from shardq-dropped-20260102T030405-77.jsonl",
    ),
    "dead drop": (
        f"dead drop {_URL} app.jobs/Resize#17",
        f"dead drop {_URL} --match older=30d --export old-letters.jsonl",
    ),
    "dead edit": (
        f"dead edit {_URL} app.jobs/Resize#17",
        f"dead edit {_URL} app.jobs/Resize#17 --app app.jobs --set width=200",
    ),
    "dead replay": (f"dead replay {_URL} app.jobs/Resize#17 --app app.jobs --pdb",),
    "dead test": (f"dead test {_URL} app.jobs/Resize#17 --app app.jobs > test_resize.py",),
    "park": (f"park {_URL} gone.module/Handler/0/0",),
    "later list": (
        f"later list {_URL} --match within=1h",
        f"later list {_URL} --handler app.jobs/Resize --match user.id=5 --limit 20",
    ),
    "later cancel": (
        f"later cancel {_URL} 644b0f8d2a6c0-1f-4c000",
        f"later cancel {_URL} --handler app.jobs/Resize --match beyond=7d --yes",
    ),
    "later run": (
        f"later run {_URL} 644b0f8d2a6c0-1f-4c000",
        f"later run {_URL} --handler app.jobs/Resize --match within=1h",
    ),
    "later skip": (
        f"later skip {_URL} app.jobs/Report/0/0#5a3f09bc41d7e26b",
        f"later skip {_URL} --handler app.jobs/Report --yes",
    ),
    "later restore": (f"later restore {_URL} shardq-cancelled-20260102T030405-77.jsonl",),
    "pause": (
        f"pause {_URL} app.jobs/Resize",
        f"pause {_URL} app.jobs/Resize --for 600 --reason 'the disk is full'",
    ),
    "resume": (f"resume {_URL} app.jobs/Resize",),
    "audit": (f"audit {_URL}", f"audit {_URL} --limit 256 --json", f"audit {_URL} --follow"),
    "recurrent list": (f"recurrent list {_URL}",),
    "recurrent cancel": (
        f"recurrent cancel {_URL} app.jobs/Report/0/0#5a3f09bc41d7e26b",
        f"recurrent cancel {_URL} --all",
    ),
    "results": (f"results {_URL} --limit 20", f"results {_URL} --drop 17 18"),
    "check": (f"check {_URL}",),
    "move": ("move shm://app redis://queue.example:6379/0",),
    "take-over": ("take-over redis://old.example:6379 shm://app app.jobs",),
    "destroy": (f"destroy {_URL}", f"destroy {_URL} --with-requests"),
    "web": (f"web {_URL}", f"web {_URL} --listen unix:/run/app/page.sock --user-header X-User --prefix /jobs"),
    "completion": ("completion bash > ~/.local/share/bash-completion/completions/shardq", "completion fish | source"),
}
