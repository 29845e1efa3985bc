-- polystore: no transaction
-- Beside the writers, who go on. "Active" is a time that the query names: a partial index cannot
-- have now() in its condition, and this one serves any number of days.
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_chats_user_id_updated_at
    ON chats (user_id, updated_at DESC);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_chat_messages_chat_id_created_at
    ON chat_messages (chat_id, created_at ASC);
ANALYZE chats, chat_messages;
