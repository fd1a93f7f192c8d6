"""The command line as a module: `python -m hexarec`."""

from hexarec.cli.main import main

if __name__ == "__main__":
    main()
