"""`python -m countline_common`: the command `countline` where its script is not on the path."""

from countline_common.cli.app import main

main()
