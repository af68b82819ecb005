"""`python -m craft_ray.data`: convert a data set to Parquet, or check it."""

import sys

from craft_ray.interrupts import end_at_once

if __name__ == "__main__":
    end_at_once()
    from craft_ray.commands.data import main

    sys.exit(main())
