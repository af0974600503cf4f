"""From predictions, clip by clip, to the tables that are scored: one collector per form of clip."""
