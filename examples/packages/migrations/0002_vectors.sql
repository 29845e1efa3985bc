-- What a package is about, as a vector of its name and summary: see tools/embed.
ALTER TABLE packages ADD COLUMN embedding BLOB;
