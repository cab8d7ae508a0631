-- Messages that wait for their time, the first due first: `Deferrals.page`, and `Deferrals.find`.
-- keys: DUE WAITING
-- needs: texts records pending
-- args: limit, after (due time and number of the last entry before; nil: from the first); or number (of the only entry)
-- Returns, for each entry: due time, number, pipe, and the places of its messages (false: from 0 on); body. They have
-- `limit` messages together, or somewhat more.
local found, messages = {}, 0

local function tell(number, entry)
    found[#found + 1] = cmsgpack.pack({entry.due_us, number, entry.pipe, entry.places or false})
    found[#found + 1] = entry.body
    messages = messages + size_of(entry.body)
end

if args.number then
    local entry = entry_of(args.number)
    if entry and not entry.schedule then
        tell(args.number, entry)
    end
    return found
end
local from = args.after and rank_behind(DUE, args.after[1], args.after[2]) or 0
while messages < args.limit do
    local number = redis.call('ZRANGE', DUE, from, from)[1]
    if not number then
        break
    end
    tell(number, entry_of(number))
    from = from + 1
end
return found
