r"""Bulk tagging: in constant memory, in order, on many processes, and resumed after a kill.

    inputs     the files, their formats and packings, and the files of their answers
    stream     lines -> records -> batches -> answers
    job        shards are handed out, and joined in order
      sharding   the cuts of a file, at ends of records
      state      the finished shards of a job on the disk; its lock and its identity
      workers    this process; or `processes` of this machine; or actors of Ray (`ray_data`)
      parquet    rows instead of lines

A batch never reaches over the end of a shard. So the same records share a batch, and get the same
scores to the last digit, however many processes there are: the output is the same byte for byte.
"""
