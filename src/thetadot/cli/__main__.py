"""`python -m thetadot.cli`."""

from thetadot.cli import main

main()
