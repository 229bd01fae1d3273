"""The data debugger `teddy check`: it reads data as training does and reports what looks wrong."""
