-- For a script that is to fail where the server has no memory left, before it changed anything: this command changes
-- nothing, and is refused then.
-- keys: STATE
local function check_memory()
    redis.call('SETRANGE', STATE, 0, '')
end
