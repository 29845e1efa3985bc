-- What was said, by its meaning: whoever makes the embeddings adds a row for a message. The index of
-- the vectors is Polystore's own (polystore.yaml).
CREATE TABLE chat_vectors (
    id UUID NOT NULL PRIMARY KEY,
    user_id UUID NOT NULL REFERENCES users (id),
    chat_id UUID NOT NULL REFERENCES chats (id),
    message_id UUID REFERENCES chat_messages (id),
    content TEXT NOT NULL,
    embedding BLOB,
    metadata JSON,
    created_at TIMESTAMP NOT NULL DEFAULT (1000000 * strftime('%s', 'now')),
    updated_at TIMESTAMP NOT NULL DEFAULT (1000000 * strftime('%s', 'now'))
);
CREATE INDEX idx_chat_vectors_user_id ON chat_vectors (user_id);
CREATE INDEX idx_chat_vectors_chat_id ON chat_vectors (chat_id);
