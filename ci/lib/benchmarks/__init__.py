"""What ``ci/bench`` measures: one module per benchmark, and the parts that they share."""
