"""Asks an address for 200, and prints what it says instead: `docker inspect` then tells why a container is not ready.

python -IS healthcheck.py 8090 /readyz
"""  # noqa: INP001  (run by path inside an image)

import http.client
import sys
from typing import Final

TIMEOUT_S: Final = 2.5
SAID_CHARACTERS: Final = 500


def main(port: int, path: str) -> int:
    """The exit status that Docker expects: 0 well, 1 not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")[:SAID_CHARACTERS]
    except (OSError, http.client.HTTPException) as error:
        said, status = f"nothing answers on port {port}: {error}", 0
    else:
        status = answer.status
    print(said)  # noqa: T201
    return 0 if status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
