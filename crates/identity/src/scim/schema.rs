//! What a provider can say about users and groups: one table, from which requests are read, filters checked and the
//! schema documents made. Attributes that are not in it do not exist.

/// Kind of an attribute's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Made of other attributes.
    Complex,
    /// True or false.
    Flag,
    /// A URI.
    Reference,
    /// Text.
    Text,
    /// A point in time.
    Time,
}

/// Who may change an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// The provider, once.
    Immutable,
    /// Only Usher.
    ReadOnly,
    /// The provider.
    ReadWrite,
}

/// One attribute (RFC 7643 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Kind of its values.
    pub kind: Kind,
    /// Whether it has several.
    pub many: bool,
    /// Whether a resource must have it.
    pub required: bool,
    /// Whether upper and lower case differ.
    pub case_exact: bool,
    /// Who may change it.
    pub mutability: Mutability,
    /// Whether no two resources of a connector have the same.
    pub unique: bool,
    /// The values that it may have; any when there are none.
    pub canonical: &'static [&'static str],
    /// What a reference may point to.
    pub references: &'static [&'static str],
    /// What it is made of.
    pub parts: &'static [Self],
}

impl Attribute {
    const fn new(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self {
            name,
            description,
            kind,
            many: false,
            required: false,
            case_exact: false,
            mutability: Mutability::ReadWrite,
            unique: false,
            canonical: &[],
            references: &[],
            parts: &[],
        }
    }

    const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Text, description)
    }

    const fn complex(name: &'static str, description: &'static str, parts: &'static [Self]) -> Self {
        Self { parts, ..Self::new(name, Kind::Complex, description) }
    }

    const fn reference(
        name: &'static str,
        description: &'static str,
        references: &'static [&'static str],
    ) -> Self {
        Self { references, case_exact: true, ..Self::new(name, Kind::Reference, description) }
    }

    const fn canonical(self, canonical: &'static [&'static str]) -> Self {
        Self { canonical, ..self }
    }

    const fn many(self) -> Self {
        Self { many: true, ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn unique(self) -> Self {
        Self { unique: true, ..self }
    }

    const fn case_exact(self) -> Self {
        Self { case_exact: true, ..self }
    }

    const fn immutable(self) -> Self {
        Self { mutability: Mutability::Immutable, ..self }
    }

    const fn read_only(self) -> Self {
        Self { mutability: Mutability::ReadOnly, ..self }
    }

    /// One of its parts; names differ in more than case.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&'static Self> {
        find(self.parts, name)
    }
}

/// An attribute of a list, however it is spelled.
#[must_use]
pub(super) fn find(list: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    list.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// Users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// Groups.
    Group,
    /// Users.
    User,
}

/// URN of the schema of groups.
pub const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// URN of the schema of users.
pub const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// URN of the extension for users.
pub const ENTERPRISE_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

impl ResourceType {
    /// Both.
    pub const ALL: [Self; 2] = [Self::User, Self::Group];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Group => "Group",
            Self::User => "User",
        }
    }

    /// Where its resources are.
    #[must_use]
    pub fn endpoint(self) -> &'static str {
        match self {
            Self::Group => "/Groups",
            Self::User => "/Users",
        }
    }

    /// URN of its schema.
    #[must_use]
    pub fn urn(self) -> &'static str {
        match self {
            Self::Group => GROUP_URN,
            Self::User => USER_URN,
        }
    }

    /// The attributes of its schema.
    #[must_use]
    pub fn attributes(self) -> &'static [Attribute] {
        match self {
            Self::Group => GROUP,
            Self::User => USER,
        }
    }

    /// Its extension: an attribute named by a URN.
    #[must_use]
    pub fn extension(self) -> Option<&'static Attribute> {
        match self {
            Self::Group => None,
            Self::User => Some(&ENTERPRISE),
        }
    }

    /// An attribute by name: of the schema, of every resource, or the extension by its URN.
    #[must_use]
    pub fn attribute(self, name: &str) -> Option<&'static Attribute> {
        let extension = self.extension().filter(|extension| extension.name.eq_ignore_ascii_case(name));
        find(self.attributes(), name).or_else(|| find(COMMON, name)).or(extension)
    }

    /// Where a path leads that begins with `name`, or with `name` of the schema `urn`, and goes on with `part`. None when there is
    /// no such attribute.
    #[must_use]
    pub fn resolve(
        self,
        urn: Option<&str>,
        name: &str,
        part: Option<&str>,
    ) -> Option<Vec<&'static Attribute>> {
        let mut steps = Vec::new();
        match (urn, self.extension()) {
            (Some(urn), _) if urn.eq_ignore_ascii_case(self.urn()) => steps.push(self.attribute(name)?),
            (Some(urn), Some(extension)) if urn.eq_ignore_ascii_case(extension.name) => {
                steps.extend([extension, extension.part(name)?]);
            }
            // A URN without an attribute behind it reads as one that ends with its last segment.
            (Some(urn), Some(extension)) if format!("{urn}:{name}").eq_ignore_ascii_case(extension.name) => {
                steps.push(extension);
            }
            (Some(_), _) => return None,
            (None, _) => steps.push(self.attribute(name)?),
        }
        if let Some(part) = part {
            steps.push(steps.last()?.part(part)?);
        }
        Some(steps)
    }
}

/// The provider's own id of a resource: part of every resource, and shown in every schema, because here it is set only once.
pub const EXTERNAL_ID: Attribute =
    Attribute::text("externalId", "The provider's own id of the resource. Never changes once it is set.")
        .case_exact()
        .immutable();

/// What every resource has.
const COMMON: &[Attribute] = &[
    Attribute::text("id", "Usher's id of the resource.").case_exact().read_only(),
    EXTERNAL_ID,
    Attribute::complex("meta", "When the resource was made and changed.", META).read_only(),
];

const META: &[Attribute] = &[
    Attribute::text("resourceType", "Name of the resource's type.").case_exact().read_only(),
    Attribute::new("created", Kind::Time, "When the resource was made.").read_only(),
    Attribute::new("lastModified", Kind::Time, "When the resource was last changed.").read_only(),
    Attribute::reference("location", "URI of the resource.", &["uri"]).read_only(),
    Attribute::text("version", "Version of the resource, as an entity tag.").case_exact().read_only(),
];

const USER: &[Attribute] = &[
    Attribute::text("userName", "What the provider calls the user. Names on servers were made from the first one and do not follow it.")
        .required()
        .unique(),
    Attribute::complex("name", "The parts of the user's name.", NAME),
    Attribute::text("displayName", "What people call the user."),
    Attribute::text("nickName", "What people call the user casually."),
    Attribute::reference("profileUrl", "A page about the user.", &["external"]),
    Attribute::text("title", "The user's title."),
    Attribute::text("userType", "How the user belongs to the organization."),
    Attribute::text("preferredLanguage", "The language that the user prefers."),
    Attribute::text("locale", "The user's locale."),
    Attribute::text("timezone", "The user's time zone."),
    Attribute::new("active", Kind::Flag, "Whether the user may do anything. False ends the user's sessions at once.").required(),
    Attribute::complex("emails", "The user's e-mail addresses.", EMAIL).many(),
    Attribute::complex("phoneNumbers", "The user's telephone numbers.", PHONE).many(),
    Attribute::complex("addresses", "The user's postal addresses.", ADDRESS).many(),
    Attribute::complex("groups", "The groups that the user is in.", USER_GROUP).many().read_only(),
];

const NAME: &[Attribute] = &[
    Attribute::text("formatted", "The whole name."),
    Attribute::text("familyName", "The family name."),
    Attribute::text("givenName", "The given name."),
    Attribute::text("middleName", "The middle name."),
    Attribute::text("honorificPrefix", "What stands before the name."),
    Attribute::text("honorificSuffix", "What stands behind the name."),
];

const EMAIL: &[Attribute] = &[
    Attribute::text("value", "The address."),
    Attribute::text("display", "The address as it is shown."),
    Attribute::text("type", "What the address is for."),
    PRIMARY,
];

const PHONE: &[Attribute] = &[
    Attribute::text("value", "The number."),
    Attribute::text("display", "The number as it is shown."),
    Attribute::text("type", "What the number is for."),
    PRIMARY,
];

const PRIMARY: Attribute = Attribute::new("primary", Kind::Flag, "Whether it is the preferred one.");

const ADDRESS: &[Attribute] = &[
    Attribute::text("formatted", "The whole address."),
    Attribute::text("streetAddress", "Street and number."),
    Attribute::text("locality", "City."),
    Attribute::text("region", "State or region."),
    Attribute::text("postalCode", "Postal code."),
    Attribute::text("country", "Country."),
    Attribute::text("type", "What the address is for."),
    PRIMARY,
];

const USER_GROUP: &[Attribute] = &[
    Attribute::text("value", "The group's id.").case_exact().read_only(),
    Attribute::reference("$ref", "URI of the group.", &["Group"]).read_only(),
    Attribute::text("display", "The group's name.").read_only(),
];

static ENTERPRISE: Attribute =
    Attribute::complex(ENTERPRISE_URN, "What organizations say about their users.", ENTERPRISE_PARTS);

const ENTERPRISE_PARTS: &[Attribute] = &[
    Attribute::text("employeeNumber", "Number of the user in the organization."),
    Attribute::text("costCenter", "Cost center."),
    Attribute::text("organization", "Organization."),
    Attribute::text("division", "Division."),
    Attribute::text("department", "Department."),
    Attribute::complex("manager", "Whom the user reports to.", MANAGER),
];

const MANAGER: &[Attribute] = &[Attribute::text("value", "The provider's id of the manager.").case_exact()];

const GROUP: &[Attribute] = &[
    Attribute::text("displayName", "What the provider calls the group.").required(),
    Attribute::complex("members", "The users in the group.", MEMBER).many(),
];

const MEMBER: &[Attribute] = &[
    Attribute::text("value", "Id of the user.").case_exact().immutable(),
    Attribute::reference("$ref", "URI of the user.", &["User"]).immutable(),
    Attribute::text("type", "What the member is.").canonical(&["User"]).immutable(),
];
