"""Where raw clips come from: layout, labels and splits, nothing on pixels."""
