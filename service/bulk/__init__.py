r"""Tag files in bulk: in constant memory, in order, on many processes, and able to go on after being killed.

    inputs     which files, what is in them, and where their answers go
    shards     a file cut at ends of records; the same cuts whoever tags it
    stream     lines -> records -> batches -> answers
    journal    one plain file into another, by one process, resumable to the second
    job        many files, or many processes: shards are handed out, kept, and joined in order
      state      what of a job is finished, on the disk; the lock; the identity of the job
      processes  shards tagged by processes of this machine (`alone`: by this one)
      ray_data   shards tagged on a Ray cluster
      parquet    rows instead of lines

A batch never reaches over the end of a shard, so that the same records share a batch, and get the
same scores to the last digit, however many processes there are: the output is the same byte for
byte.
"""
