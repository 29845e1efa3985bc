-- What was said, by its meaning: whoever makes the embeddings adds a row for a message. The index of
-- the vectors is Polystore's own (polystore.yaml); no extension is needed.
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
