-- What was said, by its meaning: whoever makes the embeddings adds a row for a message. The index of
-- the vectors is pgvector's, on this table, where the server has that extension; else the column is an
-- array, and the index Polystore's own.
CREATE TABLE chat_vectors (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES users (id),
    chat_id UUID NOT NULL REFERENCES chats (id),
    message_id UUID REFERENCES chat_messages (id),
    content TEXT NOT NULL,
    embedding REAL[],
    metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX idx_chat_vectors_user_id ON chat_vectors (user_id);
CREATE INDEX idx_chat_vectors_chat_id ON chat_vectors (chat_id);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') THEN
        CREATE EXTENSION IF NOT EXISTS vector;
        ALTER TABLE chat_vectors ALTER embedding TYPE VECTOR(100);
        CREATE INDEX idx_chat_vectors_embedding_hnsw ON chat_vectors
            USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 64);
    END IF;
END
$$;
