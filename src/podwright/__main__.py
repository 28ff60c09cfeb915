"""`python -m podwright` is `podwright`."""

import sys

from podwright.cli.main import main

sys.exit(main())
