"""The data debugger `teddy check`: it reads data as training would, counts it, and says what looks wrong."""
