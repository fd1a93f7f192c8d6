"""Background work: a queue in the store, workers in the server or beside it, progress that anybody can follow."""
