"""Asks the page beside a family whether it lives, or is ready: `python -m examples.deploy.probe readyz`.

It ends with 0 where it is so, and with 1 where it is not. It imports little, since it is started every few seconds.
"""

from __future__ import annotations

import http.client
import sys

#: Where `python -m shardq.supervise … --web 127.0.0.1:8700` answers.
PORT = 8700
TIMEOUT_S = 4.0


def said_yes(question: str, port: int = PORT) -> bool:
    """`healthz`: a supervisor lives. `readyz`: a worker serves."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", f"/{question}")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if said_yes(*sys.argv[1:2], *map(int, sys.argv[2:])) else 1)
