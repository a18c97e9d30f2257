"""Speed as ratios: every figure stands beside a limit or a peer measured in the same run."""
