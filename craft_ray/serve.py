"""`python -m craft_ray.serve`: a model that is offered to others."""

import sys

from craft_ray.interrupts import end_at_once

if __name__ == "__main__":
    end_at_once()
    from craft_ray.commands.serve import main

    sys.exit(main())
