"""`craft-ray reproduce`: ours on the few-shot data sets, beside what is published."""

import sys

from craft_ray.interrupts import end_at_once

if __name__ == "__main__":
    end_at_once()
    from craft_ray.commands.reproduce import main

    sys.exit(main())
