"""`python -m smallcaps_assets.cli` is the `smallcaps` command."""

from smallcaps_assets.cli import main

if __name__ == "__main__":
    main()
