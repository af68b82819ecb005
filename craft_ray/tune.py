"""`python -m craft_ray.tune`: search the hyperparameters of a fine-tuning."""

import sys

from craft_ray.interrupts import end_at_once_on_ctrl_c

if __name__ == "__main__":
    end_at_once_on_ctrl_c()
    from craft_ray.commands.tune import main

    sys.exit(main())
