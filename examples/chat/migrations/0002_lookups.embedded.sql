-- "Active" is a time that the query names: this serves any number of days.
CREATE INDEX idx_chats_user_id_updated_at ON chats (user_id, updated_at DESC);
CREATE INDEX idx_chat_messages_chat_id_created_at ON chat_messages (chat_id, created_at ASC);
