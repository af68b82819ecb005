"""`python -m craft_ray.tracking OUTPUT_DIR`: send what MLflow has missed."""

import sys

from craft_ray.commands.tracking import main

if __name__ == "__main__":
    sys.exit(main())
