"""Checks that a local address returns 200, and prints the response, so that `docker inspect` shows why it is not ready.

python -IS healthcheck.py 8090 /readyz
"""  # noqa: INP001  (run by path inside an image)

import http.client
import sys
from typing import Final

TIMEOUT_S: Final = 2.5
MAX_PRINTED_CHARACTERS: Final = 500


def main(port: int, path: str) -> int:
    """Return the exit status that Docker expects: 0 if healthy, 1 if not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        output = response.read().decode(errors="replace")[:MAX_PRINTED_CHARACTERS]
    except (OSError, http.client.HTTPException) as error:
        output, status = f"no response on port {port}: {error}", 0
    else:
        status = response.status
    print(output)  # noqa: T201
    return 0 if status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
