"""`python -m craft_ray.reproduce`: the paper's tables, beside the published numbers."""

import sys

from craft_ray.interrupts import end_at_once

if __name__ == "__main__":
    end_at_once()
    from craft_ray.commands.reproduce import main

    sys.exit(main())
