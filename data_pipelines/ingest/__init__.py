"""Raw clips to a prepared data set: by processes or machines, resumed."""
