"""What the product ought to see: pure, from facts, configuration and what was pinned. `guest` composes the rest."""
