"""`python -m lethe`."""

import sys

from lethe.command import main

sys.exit(main())
