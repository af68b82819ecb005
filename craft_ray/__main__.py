"""`python -m craft_ray`, as `craft-ray`."""

import sys

from craft_ray.commands.program import main

if __name__ == "__main__":
    sys.exit(main())
