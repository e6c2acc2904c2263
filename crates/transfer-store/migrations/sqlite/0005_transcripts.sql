-- What was said in a call, as its agent told it.
ALTER TABLE transfer ADD COLUMN transcript TEXT;
