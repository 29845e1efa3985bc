-- The same in SQLite, which keeps times as microseconds since 1970, and looks at no length by itself.
-- A key that is not given is made by Polystore.
CREATE TABLE users (
    id UUID NOT NULL PRIMARY KEY,
    email VARCHAR(255) NOT NULL UNIQUE CHECK (length(email) <= 255),
    email_verified BOOLEAN NOT NULL DEFAULT FALSE,
    first_name VARCHAR(255) CHECK (length(first_name) <= 255),
    last_name VARCHAR(255) CHECK (length(last_name) <= 255),
    created_at TIMESTAMP NOT NULL DEFAULT (1000000 * strftime('%s', 'now')),
    updated_at TIMESTAMP NOT NULL DEFAULT (1000000 * strftime('%s', 'now')),
    last_login TIMESTAMP
);

CREATE TABLE chats (
    id UUID NOT NULL PRIMARY KEY,
    user_id UUID NOT NULL REFERENCES users (id),
    title VARCHAR(255) NOT NULL CHECK (length(title) <= 255),
    created_at TIMESTAMP NOT NULL DEFAULT (1000000 * strftime('%s', 'now')),
    updated_at TIMESTAMP NOT NULL DEFAULT (1000000 * strftime('%s', 'now'))
);
CREATE INDEX idx_chats_user_id ON chats (user_id);
CREATE INDEX idx_chats_updated_at ON chats (updated_at);

CREATE TABLE chat_messages (
    id UUID NOT NULL PRIMARY KEY,
    chat_id UUID NOT NULL REFERENCES chats (id),
    role VARCHAR(50) NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    content TEXT NOT NULL,
    metadata JSON,
    created_at TIMESTAMP NOT NULL DEFAULT (1000000 * strftime('%s', 'now'))
);
CREATE INDEX idx_chat_messages_chat_id ON chat_messages (chat_id);
CREATE INDEX idx_chat_messages_created_at ON chat_messages (created_at);
