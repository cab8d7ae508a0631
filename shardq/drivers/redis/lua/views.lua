-- Tubes that are not empty, thread by thread, as operators see them: `Observer.tubes`.
-- keys: STATE LIVE THREADS CHUNKS
-- needs: base records threads tubes
-- args: after (a key; nil: from the first), limit (tubes, or somewhat more)
-- Returns now; then for each thread its key, and what is known: owner (of a claim that stands), pause_end, and tubes: a list
-- for each that is not empty, of its name, count, when its first message came (false: not looked at), and how often that
-- failed.
local found, number = {cmsgpack.pack({now = now})}, 0
-- Larger chunks are not read: they would hold up others.
local READ_BYTES = 4096

-- The number of the first message of a tube, which is the time when it came, or a little more. A chunk that is larger than
-- CHUNK_BYTES has one record.
local function first_number(its, name, tube)
    if (tube.handed_from or 0) >= tube.head then
        return tube.handed_from
    end
    if redis.call('HSTRLEN', CHUNKS, chunk_field(its, name, tube.first)) <= READ_BYTES then
        local first = false
        each_record(its, name, tube, tube.head, function(_, its_record)
            first = math.max(its_record.first, tube.head)
            return true
        end)
        return first
    end
    if tube.first == 1 then
        return tube.head
    end
    return tube.first == tube.last and math.max(tube.head, tube.next - tube.count)
end

local from = args.after and '(' .. args.after or '-'
for _, key in ipairs(redis.call('ZRANGEBYLEX', LIVE, from, '+', 'LIMIT', 0, args.limit)) do
    if number >= args.limit then
        break
    end
    local its, told = look_at(key), {}
    for name, tube in pairs(its.tubes) do
        if tube.count > 0 then
            local first = first_number(its, name, tube)
            local failed = tube.failed and tube.failed.number >= tube.head and tube.failed.attempts or 0
            told[#told + 1] = {name, tube.count, first, failed}
            number = number + 1
        end
    end
    local owner = its.token > 0 and its.lease_end > now and its.owner or nil
    found[#found + 1] = key
    found[#found + 1] = cmsgpack.pack({tubes = told, owner = owner, pause_end = its.pause_end})
end
return found
