"""`python -m craft_ray.reproduce`: the paper's tables, beside the published numbers."""

import sys

from craft_ray.commands.reproduce import main

if __name__ == "__main__":
    sys.exit(main())
