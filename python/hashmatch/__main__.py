"""`python -m hashmatch` is the `hashmatch` command."""

from hashmatch.cli import main

main()
