"""What stays: looks again whenever something may have changed, and puts right what is not as it ought to be."""
