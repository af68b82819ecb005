"""`python -m craft_ray.tracking OUTPUT_DIR`: send what MLflow has missed."""

import sys

from craft_ray.interrupts import end_at_once

if __name__ == "__main__":
    end_at_once()
    from craft_ray.commands.tracking import main

    sys.exit(main())
