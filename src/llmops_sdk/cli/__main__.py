"""`python -m llmops_sdk.cli` is the command `llmops`."""

import sys

from llmops_sdk.cli import main

if __name__ == "__main__":
    sys.exit(main())
