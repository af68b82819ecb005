"""`python -m craft_ray.train`: one fine-tuning, without a search."""

import sys

from craft_ray.interrupts import end_at_once_on_ctrl_c

if __name__ == "__main__":
    end_at_once_on_ctrl_c()
    from craft_ray.commands.train import main

    sys.exit(main())
