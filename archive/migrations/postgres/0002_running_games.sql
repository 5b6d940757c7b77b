-- Running games are few among many: those that Redis lost are looked for among them.
CREATE INDEX games_running ON games (id) WHERE ended_at IS NULL;
