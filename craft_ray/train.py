"""`python -m craft_ray.train`: one fine-tuning, without a search."""

import sys

from craft_ray.interrupts import end_at_once

if __name__ == "__main__":
    end_at_once()
    from craft_ray.commands.train import main

    sys.exit(main())
