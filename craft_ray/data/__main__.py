"""`python -m craft_ray.data`: convert a data set to Parquet, or check it."""

import sys

from craft_ray.commands.data import main

if __name__ == "__main__":
    sys.exit(main())
