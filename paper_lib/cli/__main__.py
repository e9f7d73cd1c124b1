import sys

from paper_lib.cli import main

sys.exit(main())
