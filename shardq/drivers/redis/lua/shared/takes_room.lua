-- For a script that is to fail where the server has no memory left, before it changed anything: this command changes
-- nothing, and is refused then.
-- keys: STATE
redis.call('SETRANGE', STATE, 0, '')
